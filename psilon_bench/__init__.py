"""psilon_bench: regularised, sparse, Lipschitz-controlled neural networks, from one command to the papers' figures."""
