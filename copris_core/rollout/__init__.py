"""Who runs, who waits, who resumes: the partial-rollout state machines.

Pure standard library. This room knows neither torch nor verl nor a clock: facts come in as method
calls (time too, as an argument), decisions go out as return values, so that the Ray router and the
simulator can drive the very same objects.
"""
