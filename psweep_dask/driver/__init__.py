"""The driver of a run: from the call over slices of psets to the rows in the database."""
