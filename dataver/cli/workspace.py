"""The options that name a workspace of Azure Machine Learning."""

from __future__ import annotations

import click

from dataver.cli.session import Function


def workspace_options(function: Function) -> Function:
    """`--subscription`, `--resource-group` and `--workspace`."""
    for name, parameter, text in reversed(OPTIONS):
        function = click.option(name, parameter, metavar="NAME", help=text)(function)
    return function


OPTIONS = (
    ("--subscription", "subscription", "Of the workspace; default: AZUREML_ARM_SUBSCRIPTION, config.json."),
    ("--resource-group", "resource_group", "Likewise: AZUREML_ARM_RESOURCEGROUP."),
    ("--workspace", "workspace", "Likewise: AZUREML_ARM_WORKSPACE_NAME."),
)
