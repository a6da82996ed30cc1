"""JOB.json: what every process of a phase's traffic is asked, whatever it carries."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar, Self

from pydantic import ValidationError

from topologies.model.document import dotted
from topologies.model.errors import SpecError
from topologies.model.fields import Strict


class PhaseJob(Strict):
    """A job as it is written; a model of its own for each sort of process, `what` its name in errors.

    t0: CLOCK_MONOTONIC seconds of the run's start; records: appended to.
    """

    what: ClassVar[str] = "a job"
    inventory: Path
    t0: float
    records: Path
    phase: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises SpecError for a missing file or one that is no such job."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise SpecError(str(path), f"{cls.what} as JSON", os.strerror(error.errno or 0)) from None
        except ValidationError as error:
            first = error.errors()[0]
            raise SpecError(f"{path} {dotted(first['loc'])}".strip(), f"{cls.what} as JSON",
                            f"{error.error_count()} problem(s), first: {first['msg']}") from None
