"""Run Python scripts in processes of their own that start with the heavy packages imported.

Each line of stdin is a JSON object: arguments (the script and its own), cwd, env, output (the file
for stdout and stderr). Each answer is the exit status. Importing torch and transformers takes
longer than most of what the tests run.
"""

import importlib
import json
import os
import runpy
import sys

# Scripts 2 to 4 import these; the project's own modules are imported by each process anew.
for name in ("torch", "transformers.models.wav2vec2.modeling_wav2vec2", "jiwer", "pandas"):
    importlib.import_module(name)

print("ready", flush=True)
for line in sys.stdin:
    request = json.loads(line)
    child = os.fork()
    if child:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = request["arguments"]
    sys.path[0] = os.path.dirname(sys.argv[0])
    # What it raises ends this process as it would any other.
    runpy.run_path(sys.argv[0], run_name="__main__")
    break
