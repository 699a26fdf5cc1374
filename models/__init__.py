"""The networks of the ensembles and their quantizers, in PyTorch."""
