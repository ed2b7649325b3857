"""OpenAI-compatible chat endpoints: client, pool, and the managed vLLM server."""
