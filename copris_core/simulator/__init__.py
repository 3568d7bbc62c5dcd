"""A virtual clock and a model of the engine that drive the real admission gate.

Only the engine, the lengths and the update are modelled; who runs, who waits and who resumes is
decided by `copris_core.rollout`, unchanged. This room knows no verl and no wall clock.
"""
