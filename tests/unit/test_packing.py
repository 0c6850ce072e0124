"""What the log stores of arms, and reads back."""

from bandit.packing import arm_from_dict, arm_to_dict
from bandit.primitives import Arm


def test_a_cascade_keeps_the_arms_that_it_joins():
    cascade = Arm("cascade", "cascade", "small+large", parts=("edge", "cloud"))
    assert arm_from_dict(arm_to_dict(cascade)) == cascade


def test_an_arm_stored_before_there_were_cascades_has_no_parts():
    old = arm_to_dict(Arm("edge", "edge", "small"))
    del old["parts"]
    assert arm_from_dict(old).parts == ()
