"""The linters of YAML and of Dockerfiles."""

from repository import DEPLOY, ROOT, TOOLS, complaint


class Yaml:
    """yamllint over every YAML file."""

    FOLDERS = [".ci", "config", "deploy"]

    def files(self):
        found = []
        for folder in self.FOLDERS:
            for pattern in ("*.yaml", "*.yml"):
                found += (ROOT / folder).rglob(pattern)
        return sorted(found)

    def problems(self):
        settings = DEPLOY / "yamllint.yaml"
        return complaint("yamllint", [TOOLS / "yamllint", "--strict", "--config-file", settings, *self.files()])


class Docker:
    """hadolint over every Dockerfile."""

    def files(self):
        return sorted(DEPLOY.rglob("*Dockerfile"))

    def problems(self):
        return complaint("hadolint", [TOOLS / "hadolint", "--no-color", "--failure-threshold", "style", *self.files()])
