"""Time integrals over one generation stage; the caller brings the clock."""

from dataclasses import dataclass


@dataclass(slots=True)
class InFlightMeter:
    """Mean number of responses in flight while the gate is open.

    mean = integral(in_flight dt) / integral(dt), over the spans between ``start`` and ``stop``
    """

    _since_s: float | None = None
    _in_flight: int = 0
    _area: float = 0.0
    _open_s: float = 0.0

    def start(self, now_s: float, in_flight: int) -> None:
        """Begin a stage: forget the last one."""
        self._since_s, self._in_flight, self._area, self._open_s = now_s, in_flight, 0.0, 0.0

    def observe(self, now_s: float, in_flight: int) -> None:
        """Note that from ``now_s`` (seconds) on, ``in_flight`` run; ignored when stopped."""
        if self._since_s is None:
            return
        self._area += self._in_flight * (now_s - self._since_s)
        self._open_s += now_s - self._since_s
        self._since_s, self._in_flight = now_s, in_flight

    def stop(self, now_s: float) -> None:
        """End the stage; later observations do not count."""
        self.observe(now_s, 0)
        self._since_s = None

    @property
    def open_s(self) -> float:
        """Seconds measured."""
        return self._open_s

    @property
    def mean(self) -> float:
        """Mean responses in flight; 0.0 before any time has passed."""
        return self._area / self._open_s if self._open_s else 0.0
