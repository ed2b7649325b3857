"""The program that a sandbox service runs for a test of a function: its source is sent by `sandbox.http_program`.

Never imported; `JOB` and `ENCODER` (the source of `sandbox.inside.encoding`) are put in front of it. It must run on
whatever CPython the service has, so it shares no code with the local runner but the encoding of results. The claim is
the one thing on standard output, which is saved from the candidate; forging it wins nothing, because no expected value
is here. For a test that runs as code the test itself is here, and its verdict is weak evidence.
"""

# pyright: basic, reportUndefinedVariable=false
# ruff: noqa: F821

import builtins
import json
import os
import random
import resource
import sys


def _main():
    channel = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    encoding = {"__name__": "encoding"}
    exec(compile(ENCODER, "<encoder>", "exec"), encoding)
    random.seed(0)
    claim = _Trial(encoding).run()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    claim["usage"] = [usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024]
    results = ",".join(claim.pop("results"))
    text = '{"results":[' + results + "]," + json.dumps(claim)[1:] + "\n"
    sent = text.encode()
    while sent:
        sent = sent[os.write(channel, sent) :]
    os._exit(0 if "token" in claim else 1)


class _Trial:
    def __init__(self, encoding):
        self._encoder = encoding["Encoder"](JOB["result_bytes"])
        self._too_large = encoding["ResultTooLarge"]
        self._results = []
        self._stage = "compile"

    def run(self):
        try:
            self._go()
        except BaseException as error:
            return {"results": self._results, "error": self._describe(error)}
        return {"results": self._results, "token": JOB["token"]}

    def _go(self):
        code = compile(JOB["code"], "<candidate>", "exec", dont_inherit=True)
        self._stage = "load"
        scope = _new_module("candidate").__dict__
        exec(code, scope)
        if JOB["entry_point"] is not None and JOB["entry_point"] not in scope:
            self._stage = "entry_point"
            raise NameError(JOB["entry_point"] + " is not defined")
        self._stage = "run"
        if JOB["setup"] and JOB["kind"] != "load":
            scope = dict(scope)
            exec(compile(JOB["setup"], "<setup>", "exec", dont_inherit=True), scope)
        if JOB["kind"] == "code":
            exec(compile(JOB["test"], "<test>", "exec", dont_inherit=True), scope)
        for call in JOB["calls"]:
            value = eval(compile(call, "<test>", "eval", dont_inherit=True), scope)
            self._results.append(self._encoder.encode(value))

    def _describe(self, error):
        stage = "too_large" if isinstance(error, self._too_large) else self._stage
        frames, trace = [], error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == "<candidate>":
                frames.append([trace.tb_lineno, trace.tb_frame.f_code.co_name[:80]])
            trace = trace.tb_next
        syntax = stage == "compile" and isinstance(error, SyntaxError)
        return {
            "stage": stage,
            "names": [kind.__name__ for kind in type(error).__mro__],
            "text": _text(error),
            "line": error.lineno if syntax else frames[-1][0] if frames else None,
            "errno": error.errno if isinstance(error, OSError) and type(error.errno) is int else None,
            "frames": frames[-12:],
        }


def _new_module(name):
    module = type(sys)(name)
    module.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = sys.modules[name] = module
    sys.argv = [name]
    return module


def _text(error):
    try:
        return str(error.msg if isinstance(error, SyntaxError) else error)[:400]
    except Exception:
        return ""


_main()
