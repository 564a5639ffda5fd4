"""Why nothing pairs: evidence in, findings out, each with two halves side by side and the way out.

`evidence` says what is judged by; `hosts`, `arrivals`, `unpaired`, `strangers`, `candidate` and `ground` find;
`diagnose` joins them. `notes` counts what pairs tell, `recent` forgets what is long past.
"""

from shadowdiff.doctor.diagnose import diagnose
from shadowdiff.doctor.evidence import Evidence, Ground, Misfit, Orphan, Patient, Process, flatten
from shadowdiff.doctor.finding import Diagnosis, Example, Finding, Gravity, Row
from shadowdiff.doctor.ground import KEEPS_ALL
from shadowdiff.doctor.notes import PairNotes, read_notes
from shadowdiff.doctor.recent import Recent

__all__ = [
    "KEEPS_ALL",
    "Diagnosis",
    "Evidence",
    "Example",
    "Finding",
    "Gravity",
    "Ground",
    "Misfit",
    "Orphan",
    "PairNotes",
    "Patient",
    "Process",
    "Recent",
    "Row",
    "diagnose",
    "flatten",
    "read_notes",
]
