"""The real SGLang without a GPU: `make test-sglang` builds its environment and runs these tests."""
