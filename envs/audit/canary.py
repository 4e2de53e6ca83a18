"""See whether text of the policy is run: Python reports it, or a file appears."""

import base64
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any


class Canary:
    """A fresh word, a file that must not appear, and an ear on what the interpreter runs.

    Args:
        folder: where the file would be made.
    """

    def __init__(self, folder: Path) -> None:
        self.word = f"canary{secrets.token_hex(6)}"
        self.file = folder / f"{self.word}.ran"
        self.heard: list[str] = []
        # an audit hook stays for the life of the process: this is for the audit's own child
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "exec":
            code = arguments[0]
            if isinstance(code, CodeType) and self._in_code(code):
                self.heard.append("the text was run by eval() or exec()")
        elif event in ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn"):
            if self.word in repr(arguments):
                self.heard.append(f"the text was handed to another program ({event})")
        elif event == "pickle.find_class" and self.word in repr(arguments):
            self.heard.append("the text was unpickled")

    def _in_code(self, code: CodeType) -> bool:
        if any(self.word in name for name in code.co_names):
            return True
        for constant in code.co_consts:
            if isinstance(constant, str) and self.word in constant:
                return True
            if isinstance(constant, CodeType) and self._in_code(constant):
                return True
        return False

    def payloads(self) -> Iterator[str]:
        """List texts that leave a trace when they are run in any way."""
        file, word = str(self.file), self.word
        touch = f"__import__('pathlib').Path({file!r}).touch()"
        packed = base64.b64encode(f"open({file!r},'w')".encode()).decode()
        yield touch
        yield f"({touch}, 1)[1]"
        yield f"[x for x in ({word!r},)]"
        yield f"1 if {word!r} else 0"
        yield f"import pathlib\npathlib.Path({file!r}).touch()\nprint(1)"
        yield f"```python\n{touch}\nprint({word!r})\n```"
        yield f"def solution(*a):\n    {touch}\n    return {word!r}"
        yield f"exec(__import__('base64').b64decode('{packed}')) or {word!r}"
        yield f"$(touch {file})"
        yield f"`touch {file}`"
        yield f"1; touch {file} #"
        yield f"1' ; touch {file} ; '"
        yield f'1" ; touch {file} ; "'
        yield f"1 | touch {file}"
        yield f"{{{{ cycler.__init__.__globals__.os.popen('touch {file}').read() }}}}"
        yield f"!!python/object/apply:os.system ['touch {file}']"
        yield f"Integer(1) + {touch}"

    def sign(self) -> str:
        """Say what has been seen since the last time; empty for nothing."""
        seen = list(dict.fromkeys(self.heard))
        if self.file.exists():
            seen.append("the text made a file on this machine")
            self.file.unlink()
        self.heard.clear()
        return "; ".join(seen)
