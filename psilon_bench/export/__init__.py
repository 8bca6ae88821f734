"""Trained networks for other programs: predictions for new rows, ONNX, a file for NumPy, a model card."""
