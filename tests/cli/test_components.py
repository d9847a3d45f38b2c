import pytest
from omegaconf import OmegaConf

from activity.cli.components import balance_of


@pytest.mark.parametrize(
    ("data", "balance"),
    [
        ({"balance": "auto", "background": False}, "none"),
        ({"balance": "auto", "background": True}, "loss"),
        ({"balance": "none", "background": True}, "none"),
        ({"balance": "sampler", "background": False}, "sampler"),
    ],
)
def test_background_does_not_outweigh_the_activities_unless_asked_to(data: dict[str, object], balance: str) -> None:
    assert balance_of(OmegaConf.create({"data": data})) == balance
