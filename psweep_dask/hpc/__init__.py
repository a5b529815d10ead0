"""What is known of batch systems and other machines: SLURM, allocations, job scripts, ssh."""
