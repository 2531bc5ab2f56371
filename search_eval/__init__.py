"""How good a ranking is: golden questions, metrics, statistics. Pure; imports nothing of ours, and no client."""
