"""What is sent and answered under `/v1`. Later versions add keys; none changes its meaning or goes away."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """The base of all. Unknown keys are refused, and docstrings of fields stand in the OpenAPI document."""

    model_config = ConfigDict(extra="forbid", from_attributes=True, use_attribute_docstrings=True)
