"""A step that uses the rights of its run: its StepRun, an effect claim, and the configuration its Engram requests."""

from __future__ import annotations

from dataclasses import dataclass

from bubu_sdk import Context, engram


@dataclass
class Inputs:
    greeting: str
    password: str


@engram
def main(ctx: Context, inputs: Inputs) -> dict[str, object]:
    ctx.emit_signal("started", {"by": "e2e"})
    charge = ctx.execute_once("charge", lambda lease: {"charged": 1})
    return {"greeting": inputs.greeting, "length": len(inputs.password), "charge": charge.details}


if __name__ == "__main__":
    main.run()
