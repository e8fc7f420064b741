"""Moments on the command line: how long ago, a day, or a time."""

import datetime
import re

import click

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def moment(ctx: click.Context, param: click.Parameter, text: str | None) -> int | None:
    """ "90s", "30m", "2h", "7d" or "1w" ago; or a date or time by ISO 8601, in UTC unless it says otherwise.

    A callback of options; the command gets Unix milliseconds. Raises click.BadParameter.
    """
    if text is None:
        return None
    if (ago := re.fullmatch(r"(\d{1,6})([smhdw])", text.strip())) is not None:
        found = datetime.datetime.now(datetime.UTC) - datetime.timedelta(
            seconds=int(ago[1]) * _UNITS_S[ago[2]]
        )
    else:
        try:
            found = datetime.datetime.fromisoformat(text.strip())
        except ValueError:
            raise click.BadParameter(
                f"expected how long ago, such as 90s, 30m, 2h or 7d, or a time such as 2027-03-31T12:00, "
                f"got {text[:80]!r}",
                ctx,
                param,
            ) from None
        if found.tzinfo is None:
            found = found.replace(tzinfo=datetime.UTC)
    return int(found.timestamp() * 1000)
