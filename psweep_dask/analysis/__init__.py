"""After the run: exports, labelled arrays, plots, new psets from results."""
