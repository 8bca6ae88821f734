"""What turns the weights of a trained network into exact zeros."""
