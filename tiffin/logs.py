"""The daemon's own log on stderr: text for people, JSON for machines."""

from __future__ import annotations

import json
import logging
import sys
import time

_NUMBERS = {"warn": logging.WARNING, "fatal": logging.CRITICAL}
_CHATTY = ("asyncio", "httpcore", "hpack")


class JsonFormatter(logging.Formatter):
    """An object a line, with logrus' names: time, level, msg."""

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def set_up_logging(level: str, form: str = "text") -> None:
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    set_level(level)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)


def set_level(level: str) -> None:
    logging.getLogger().setLevel(_NUMBERS.get(level) or level.upper())
