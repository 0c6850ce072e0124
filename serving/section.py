"""What all sections of the settings share: strictness, and numbers with their ranges."""

import re
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Seconds: TypeAlias = Annotated[float, Field(gt=0, le=30 * 86_400, allow_inf_nan=False)]
Unit: TypeAlias = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Price: TypeAlias = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Name: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,31}$")]
HTTP_URL = re.compile(r"^https?://[^\s/?#]+([/?#]\S*)?\Z")


class Section(BaseModel):
    """Part of the settings: fixed once read, and without names that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
