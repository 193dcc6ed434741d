"""Settings of property tests: the same inputs on every machine, few enough for `make test`, any time allowed."""

from hypothesis import HealthCheck, Phase, settings


def inputs(count):
    """Try this many inputs. Failing ones are not shrunk, which may take minutes; delete `phases` to see a small one."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
