"""Many machines: a dataset is cut into shards, which a loop, Slurm or Ray embeds, with the results of one machine."""
