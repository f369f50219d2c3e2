"""Beyond one machine: a dataset cut into shards that a loop, Slurm or Ray runs, with the answers of one machine."""
