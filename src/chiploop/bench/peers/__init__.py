"""The network of the training benchmark in other frameworks, one a file; each is imported only when it is run."""
