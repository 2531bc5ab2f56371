"""What ranking costs: a search of each kind beside its two arms, in CPU time, over one index of real code."""
