"""What outlives the controller: its tenants' intent, numbers given out, version; and the rates of links, which it
does not measure but is given (PUT /rates). A file in the lab's directory.

It is written before the first rule of a new version is sent: a controller that is killed and started again
wants what was wanted last.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError

from controller.intent.intent import Intent
from controller.intent.vpc import Allocation
from topologies.access import files
from topologies.model.errors import LabError
from topologies.model.fields import Strict

FILE = "intent.json"    # in a lab's directory


class PersistedIntent(Strict):
    """version: counts the changes of intent; 0 is a lab that has had none.

    rates: link -> bit/s, of those that have another rate than the fabric's.
    """

    version: int = 0
    intent: Intent = Intent()
    allocation: Allocation = Allocation()
    rates: dict[str, float] = Field(default_factory=dict)

    def write(self, path: Path) -> None:
        files.write_whole(path, self.model_dump_json(indent=1).encode(), ours=True)

    @classmethod
    def read(cls, path: Path) -> PersistedIntent:
        """The last one written; an empty one if there is none. Raises LabError for a file that is none of ours."""
        try:
            return cls.model_validate_json(path.read_text())
        except FileNotFoundError:
            return cls()
        except ValidationError as error:
            raise LabError(str(path), "the intent as the controller wrote it",
                           f"{error.error_count()} problems, first: {error.errors()[0]['msg']}",
                           "take the lab down and up again") from None
