"""Profiles, settings and command lines that cannot be."""

from __future__ import annotations

from collections.abc import Iterator

from engine import explain
from engine.profile import PretrainProfile, Profile
from tests.torture.cases import DONE, Case, deep, nested_json
from tests.torture.ground import Ground

ESCAPE = "\x1b[31m\x07\x9b2J\u202e"
"""What a terminal would obey: a colour, a bell, an eighth-bit clearing, writing from the right."""

FILES: dict[str, bytes | str] = {
    "latin": b'name = "caf\xe9"',
    "utf16": 'name = "a"'.encode("utf-16"),
    "zeros": bytes(1000),
    "torn": 'name = "a',
    "open": "[train",
    "binary": bytes(range(256)),
    "deep": "seed = " + deep("[", "]"),
    "deep tables": "seed = " + "{a=" * 5000,
    "dotted": "a." * 30_000 + "a = 1",
    "digits": "seed = " + "9" * 5000,
    "many digits": "train.updates = " + "9" * 400,
    "long": "# " + "x" * 1_100_000,
    "twice": "seed = 1\nseed = 2",
    "a key that writes": '"k\\u001b[31m" = 1',
    "a name that writes": 'name = "a\\u001b[31m"',
    "a path that writes": 'runs = "a\\u0000b"',
    "a bell": 'voice.checkpoint = "\\u0007"',
    "a date": "seed = 1979-05-27T07:32:00Z",
    "a list": "seed = [1, 2]",
    "a float": "seed = 1.5",
    "true": "seed = true",
    "not a number": "voice.pace = nan",
    "endless": "rollout.sigma_min = inf",
    "a table": "name = { a = 1 }",
    "no table": "train = 5",
    "a score that writes": '[reward.models]\n"loud\\u001b[2J" = 1.0',
    "no score": "[reward.models]",
    "deep down": "[schedule]\nbetas = [[0.1]]",
    "a long value": f'device.device = "{"x" * 50_000}"',
    "a long key": f"{'x' * 50_000} = 1",
}
JSON_FILES: dict[str, bytes | str] = {
    "deep": nested_json(),
    "a list": "[1]",
    "nan": '{"voice": {"pace": NaN}}',
    "surrogate": '{"name": "a\\ud800"}',
    "digits": '{"seed": ' + "9" * 5000 + "}",
    "huge": '{"seed": ' + "9" * 400 + "}",
    "torn": '{"name": ',
    "nothing": "",
}
WRONG = {"wrong": "{ no = 1 }", "nan": "nan", "writes": f'"{ESCAPE}"'}

SETTINGS: dict[str, bytes | str] = {
    "latin": b'theme = "caf\xe9"',
    "theme": f'theme = "\\u001b[31m{"x" * 100}"',
    "theme list": "theme = [1]",
    "deep": "theme = " + deep("[", "]"),
    "digits": "sound.volume = " + "9" * 5000,
    "volume": "sound.volume = 1e3",
    "loud": "sound.volume = 151",
    "device": "sound.device = 3",
    "sound": "sound = 3",
    "unknown": '"\\u001b[2J" = 1',
    "key": '[keys]\npause = "\\u001b"',
    "keys": "[keys]\npause = 3",
    "no key": '[keys]\n"\\u001b[2J" = "p"',
    "taken": '[keys]\npause = "ctrl+c"',
    "empty key": '[keys]\npause = ""',
    "torn": "[keys",
}

WORDS = (
    ("run",),
    ("run", "--steps"),
    ("run", "tiny.toml", "--headless", "--set", "seed"),
    ("run", "tiny.toml", "--headless", "--set", "=1"),
    ("run", "tiny.toml", "--headless", "--set", ""),
    ("run", "tiny.toml", "--headless", "--set", "seed=" + "[" * 5000),
    ("run", "tiny.toml", "--headless", "--set", "seed=" + "9" * 5000),
    ("run", "tiny.toml", "--headless", "--set", "seed.a=1"),
    ("run", "tiny.toml", "--headless", "--set", "knobs.alpha=1e400"),
    ("run", "tiny.toml", "--headless", "--set", f"name={ESCAPE}"),
    ("run", "tiny.toml", "--headless", "--set", f"{ESCAPE}=1"),
    ("run", "tiny.toml", "--headless", "--set", "name=\udcff"),
    ("run", "tiny.toml", "--headless", "--set", "name=a\0b"),
    ("run", "tiny.toml", "--headless", "--set", "runs=" + "x" * 5000),
    ("run", "tiny.toml", "--headless", "--set", "name=" + "x" * 5000),
    ("run", "tiny.toml", "--headless", "--set", "voice.checkpoint=" + "x" * 5000),
    ("run", "tiny.toml", "--headless", "--set", "prompts.train=" + "x" * 5000),
    ("run", "x" * 5000, "--headless"),
    ("run", f"no{ESCAPE}.toml", "--headless"),
    ("run", "a\0b", "--headless"),
    ("run", "\udcff\udcfe", "--headless"),
    ("run", "/dev/zero", "--headless"),
    ("run", "--resume", "x" * 5000),
    ("run", "--resume", f"no{ESCAPE}"),
    ("run", "--from", "x" * 5000),
    ("run", "--from", f"no{ESCAPE}"),
    ("replay", "x" * 5000),
    ("replay", f"no{ESCAPE}"),
    ("replay", "\udcff"),
    ("replay", "run", "--headless", "--at", "1"),
    ("replay", "run", "--at", "-1"),
    ("replay", "run", "--at", f"{ESCAPE}"),
    ("report", "x" * 5000),
    ("report", f"no{ESCAPE}"),
    ("report", "run", "--out", f"a{ESCAPE}.txt"),
    ("report", "run", "--out", "voice.safetensors/a.html"),
    ("report", "run", "--out", "x" * 5000 + ".html"),
    ("report", "run", "--most-mb", "-1"),
    ("listen", "x" * 5000, "--text", "Go.", "--out", "a.wav"),
    ("listen", f"no{ESCAPE}", "--text", "Go.", "--out", "a.wav"),
    ("listen", "voice.safetensors", "--text", "Go.", "--out", f"a{ESCAPE}.mp3"),
    ("listen", "voice.safetensors", "--text", "Go.", "--out", "x" * 5000 + ".wav"),
    ("listen", "voice.safetensors", "--text", "Go.", "--out", "a\0b.wav"),
    ("listen", "voice.safetensors", "--text", "Go.", "--out", "a.wav", "--steps", "1" * 5000),
    ("listen", "voice.safetensors", "--text", "Go.", "--out", "a.wav", "--steps", ESCAPE),
    ("listen", "voice.safetensors", "--text", "Go.", "--out", "a.wav", "--seed", "-1"),
    ("listen", "voice.safetensors", "--text", "Go.", "--out", "a.wav", "--pace", "nan"),
    ("listen", "voice.safetensors", "--text", "Go.", "--out", "a.wav", "--eta", "nan"),
    ("listen", "voice.safetensors", "--text", "Go.", "--out", "a.wav", "--speaker", ESCAPE),
    ("listen", "voice.safetensors", "--text", "Go.", "--out", "a.wav", f"--{ESCAPE}"),
    ("listen", "voice.safetensors", "--text", "Go.", "--out", "a.wav", f"more{ESCAPE}"),
    ("listen", "voice.safetensors"),
    ("compare", f"no{ESCAPE}", "voice.safetensors"),
    ("compare", "voice.safetensors", f"run@{ESCAPE}"),
    ("compare", "voice.safetensors", "voice.safetensors", "--prompts", f"no{ESCAPE}"),
    ("compare", "voice.safetensors", "voice.safetensors", "--prompts", "x" * 5000),
    ("compare", "voice.safetensors", "voice.safetensors", "--models", ESCAPE),
    ("compare", "voice.safetensors", "voice.safetensors", "--page", "a.pdf"),
    ("compare", "voice.safetensors", "other.safetensors", "--pace", "nan", "--models", "loudness"),
    ("compare", "voice.safetensors", "voice.safetensors", "--blind"),
    ("study", "methods", "--out", "s", "--seeds", "0,x"),
    ("study", "methods", "--out", "s", "--seeds", "9" * 5000),
    ("study", "methods", "--out", "s", "--seeds", ESCAPE),
    ("study", "methods", "--out", "voice.safetensors"),
    ("study", f"no{ESCAPE}", "--out", "s"),
    ("study", "methods", "--out", "s", "--set", f"{ESCAPE}:seed=1"),
    ("prepare", f"no{ESCAPE}"),
    ("prepare", "x" * 5000),
    ("prepare", "corpus"),
    ("pretrain", "corpus", f"no{ESCAPE}.toml"),
    ("pretrain", f"no{ESCAPE}", "toy.toml"),
    ("pretrain", "corpus", "toy.toml", "--out", "voice.safetensors"),
    ("pretrain", "corpus", "toy.toml", "--compact", "c.safetensors", "--out", "nothing"),
    ("convert", f"no{ESCAPE}"),
    ("convert", "x" * 5000),
    ("fetch", ESCAPE),
    ("fetch", "utmos", "--from", f"no{ESCAPE}"),
    ("fetch", "nisqa", "--from", "toy.toml"),
    ("doctor", "--device", ESCAPE, "--seconds", "0"),
    ("doctor", "--seconds", "nan" + ESCAPE),
    ("export-pairs", f"no{ESCAPE}"),
    ("export-pairs", "run", "--out", "run/pairs.jsonl"),
    ("profiles", "explain", ESCAPE),
    ("profiles", "check", "x" * 5000),
    ("config", ESCAPE),
    (ESCAPE,),
    ("",),
)


def cases(ground: Ground) -> Iterator[Case]:
    for name, content in FILES.items():
        file = ground.file(f"profiles/{name}.toml", content)
        if name != "a long value":  # which the session's device is to refuse
            yield Case(f"profile, {name}", ("profiles", "check", file))
        yield Case(f"a session's profile, {name}", ("run", file, "--headless"))
    for name, content in JSON_FILES.items():
        file = ground.file(f"profiles/{name}.json", content)
        yield Case(f"JSON profile, {name}", ("profiles", "check", file))
    yield from keys(ground)
    for name, content in SETTINGS.items():
        told = {"DLPO_TUI_CONFIG": ground.file(f"settings/{name}.toml", content)}
        yield Case(f"settings, {name}", ("config", "show"), environment=told)
    told = {"DLPO_TUI_CONFIG": ground.file("settings/odd.toml", 'sound.device = "\\u001b[2J"')}
    yield Case("settings, a device that writes", ("config", "show"), DONE, "␛[2J", told)
    for number, words in enumerate(WORDS):
        shown = " ".join(word[:30] for word in words).encode("unicode_escape").decode()
        yield Case(f"command line {number}, {shown}", words)


def keys(ground: Ground) -> Iterator[Case]:
    """Every key of both kinds of profile with values that none of them takes."""
    toy, tiny = "toy.toml", "tiny.toml"
    for kind, file in ((Profile, tiny), (PretrainProfile, toy)):
        for section in explain.sections(kind):
            for key in section.keys:
                for name, value in WRONG.items():
                    words = ("profiles", "check", file, "--set", f"{key.name}={value}")
                    yield Case(f"{key.name}, {name}", words)
