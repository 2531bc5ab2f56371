"""What all benchmarks share: processes and what they cost, statistics, tables, the command line."""
