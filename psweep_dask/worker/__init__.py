"""What happens in a worker process: a slice of psets goes in, a frame of the journal comes out."""
