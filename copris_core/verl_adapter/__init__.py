"""The room that meets verl, vLLM and Ray: it translates and decides nothing."""
