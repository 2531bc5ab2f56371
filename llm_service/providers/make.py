"""Which kind of provider stands for a backend: a server, or a script or a recording where one is named."""

from llm_service.core.backends import Backend
from llm_service.core.settings import LlmSettings
from llm_service.providers.base import Provider
from llm_service.providers.openai_compatible import Connections, OpenAiCompatible
from llm_service.providers.pool import MakeProvider
from llm_service.providers.recorded.recorder import Recorder
from llm_service.providers.recorded.replay import replay_provider
from llm_service.providers.scripted.provider import scripted_provider
from llm_service.providers.scripted.script import Script, load_script


def provider_maker(settings: LlmSettings, connections: Connections) -> MakeProvider:
    """How the pool makes its providers. They fail with ValueError where a script or a recording is bad."""

    def make(backend: Backend) -> Provider:
        if settings.llm_provider == "scripted":
            path = settings.llm_script
            return scripted_provider(Script() if path is None else load_script(path))
        if settings.llm_provider == "replay":
            if settings.llm_replay_from is None:
                raise ValueError("LLM_PROVIDER=replay needs LLM_REPLAY_FROM, a folder that LLM_RECORD_TO filled")
            return replay_provider(settings.llm_replay_from, pace=settings.llm_replay_pace)
        server = OpenAiCompatible(backend, connections)
        return server if settings.llm_record_to is None else Recorder(server, settings.llm_record_to)

    return make
