"""What must survive a death: partials as files, and checkpoints that count only when whole.

No pickle: safetensors for numbers, JSON for the rest. This room knows neither trainer nor engine.
"""
