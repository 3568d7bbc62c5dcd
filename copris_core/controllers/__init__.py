"""What changes with the training step: KL and entropy coefficients, reference resets, lengths.

Pure standard library. This room knows neither tensors nor a trainer nor a clock: measured numbers
come in as method calls, decisions go out as return values, and everything remembered is JSON.
"""
