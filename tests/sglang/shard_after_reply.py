"""shard_script.py with a model that has replied before it is saved: on a GPU, capturing graphs does the same to every
model. Runs by path in SGLang's environment; SHARD_SCRIPT is the path of the real one."""

import os
import runpy

if __name__ == "__main__":
    from sglang.srt.entrypoints.engine import Engine

    save = Engine.save_sharded_model

    def save_after_reply(self, **options):
        self.generate("1", {"max_new_tokens": 1})
        save(self, **options)

    Engine.save_sharded_model = save_after_reply
    runpy.run_path(os.environ["SHARD_SCRIPT"], run_name="__main__")
