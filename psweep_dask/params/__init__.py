"""Parameter sets: grids, samples, filters, hashes. Pure functions on dicts."""
