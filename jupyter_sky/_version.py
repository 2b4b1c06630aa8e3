"""The version of the project, as Python packages name it; it is written in the agent, which travels alone."""

from jupyter_sky.agent import version

__version__ = version.VERSION
