"""Run Python scripts in processes of their own that start with the heavy packages imported.

Each line of stdin is a JSON object: arguments (the script and its own), cwd, output (the file for
stdout and stderr), envs (the environment of each process: torchrun starts several). The answers are
the list of their ids, and once they have ended the exit status. Importing torch and transformers
takes longer than most of what the tests run.
"""

import importlib
import json
import os
import runpy
import signal
import sys

# Scripts 2 to 4 and listen.py import these; each process imports the project's own modules anew.
HEAVY = (
    "torch",
    "transformers.models.wav2vec2.modeling_wav2vec2",
    "jiwer",
    "pandas",
    # Pictures, pages and Excel files.
    "librosa.core.spectrum",
    "librosa.feature.spectral",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "xlsxwriter",
)
for name in HEAVY:
    importlib.import_module(name)


def become(request, env):
    """Run the script of a request in this process."""
    output = os.open(request["output"], os.O_WRONLY | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(request["cwd"])
    sys.argv = request["arguments"]
    sys.path[0] = os.path.dirname(sys.argv[0])
    # What it raises ends this process as it would any other.
    runpy.run_path(sys.argv[0], run_name="__main__")


def status_of(children):
    """The first exit status that is not 0; like torchrun, the others are stopped then."""
    while children:
        child, status = os.wait()
        children.remove(child)
        if status:
            for other in children:
                os.kill(other, signal.SIGTERM)
                os.waitpid(other, 0)
            return os.waitstatus_to_exitcode(status)
    return 0


print("ready", flush=True)
for line in sys.stdin:
    request = json.loads(line)
    open(request["output"], "wb").close()
    children = []
    for env in request["envs"]:
        children.append(os.fork())
        if not children[-1]:
            become(request, env)
            sys.exit()
    print(json.dumps(children), flush=True)
    print(status_of(children), flush=True)
