"""What is asked of a patient's posterior: which regimens against which targets and isolates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tdmx_dask.domain.mic import MICDistribution
from tdmx_dask.domain.regimen import Regimen
from tdmx_dask.domain.scenario import read_design
from tdmx_dask.domain.section import Section
from tdmx_dask.domain.study import read_distributions, read_mics, read_targets
from tdmx_dask.domain.target import AllOf, Target

__all__ = ["ASSESSMENT_KEYS", "Assessment"]

ASSESSMENT_KEYS = ("regimens", "targets", "mic", "distributions")


@dataclass(frozen=True, slots=True)
class Assessment:
    """Candidate regimens, and what they are judged by.

    Parameters
    ----------
    regimens : at least one
    targets : at least one
    mic : mg/L, ascending
    distributions : of MICs, for CFR
    """

    regimens: tuple[Regimen, ...]
    targets: tuple[Target | AllOf, ...]
    mic: tuple[float, ...]
    distributions: tuple[MICDistribution, ...] = ()

    @classmethod
    def read(cls, top: Section, folder: Path) -> Assessment | None:
        """Read the keys of `ASSESSMENT_KEYS` as a study has them; None where there is none of them.

        Parameters
        ----------
        top : the document
        folder : from which its relative paths start

        Raises
        ------
        InputError
            Regimens without targets or targets without regimens; otherwise as a study.
        """
        given = [key for key in ASSESSMENT_KEYS if key in top]
        if not given:
            return None
        for key in ("regimens", "targets"):
            if key not in top:
                top.at(key)
        _, design = read_design(top, None)
        targets = tuple(read_targets(top))
        distributions = read_distributions(top, folder)
        mic = read_mics(top, targets, distributions)
        return cls(tuple(regimen for _, regimen in design), targets, mic, distributions)

    def to_mapping(self) -> dict[str, object]:
        """Plain values of the keys; `read` takes them back."""
        mapping: dict[str, object] = {
            "regimens": [regimen.to_mapping() for regimen in self.regimens],
            "targets": [str(target) for target in self.targets],
            "mic": list(self.mic),
        }
        if self.distributions:
            mapping["distributions"] = [each.to_mapping() for each in self.distributions]
        return mapping
