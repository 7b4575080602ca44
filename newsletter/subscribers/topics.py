"""The topics a reader can choose, each with the phrases that papers about it use. Pure.

A topic that is not here is taken as it is: its words are its phrases.
"""

from typing import Final

TOPICS: Final[dict[str, tuple[str, ...]]] = {
    "agents": ("agent", "multi-agent", "tool use", "computer use", "agentic"),
    "alignment": ("alignment", "preference optimization", "RLHF", "reward model", "human feedback"),
    "audio": ("audio", "speech", "text-to-speech", "speech recognition", "music generation"),
    "biology": ("protein", "genomics", "molecule", "drug discovery", "single-cell"),
    "code": ("code generation", "software engineering", "program synthesis", "coding agent"),
    "computer vision": ("image", "object detection", "segmentation", "visual recognition"),
    "data": ("dataset", "data curation", "synthetic data", "data selection"),
    "diffusion": ("diffusion model", "diffusion", "flow matching", "denoising", "score-based"),
    "efficiency": ("quantization", "pruning", "distillation", "efficient inference", "KV cache"),
    "evaluation": ("benchmark", "evaluation", "leaderboard"),
    "graphs": ("graph neural network", "knowledge graph", "graph learning"),
    "image generation": ("text-to-image", "image generation", "image editing"),
    "interpretability": ("interpretability", "mechanistic interpretability", "sparse autoencoder", "probing"),
    "language models": ("large language model", "language model", "LLM", "pretraining"),
    "mathematics": ("theorem proving", "mathematical reasoning", "formal verification", "mathematics"),
    "medicine": ("medical", "clinical", "radiology", "diagnosis"),
    "multimodal": ("multimodal", "vision-language model", "vision-language"),
    "proteins": ("protein", "protein structure", "protein design", "amino acid"),
    "reasoning": ("reasoning", "chain-of-thought", "test-time scaling", "test-time compute"),
    "reinforcement learning": ("reinforcement learning", "policy optimization", "GRPO", "reward"),
    "retrieval": ("retrieval", "retrieval-augmented generation", "RAG", "dense retrieval"),
    "robotics": ("robot", "robotics", "manipulation", "vision-language-action", "embodied"),
    "safety": ("safety", "jailbreak", "red teaming", "adversarial attack"),
    "theory": ("generalization bound", "convergence", "learning theory", "sample complexity"),
    "training": ("optimizer", "training dynamics", "scaling law", "learning rate"),
    "video": ("video generation", "video understanding", "video", "world model"),
    "3D": (
        "3D reconstruction",
        "gaussian splatting",
        "neural radiance field",
        "point cloud",
        "novel view synthesis",
    ),
}


_BY_KEY: Final = {topic.casefold(): phrases for topic, phrases in TOPICS.items()}


def phrases(topic: str) -> tuple[str, ...]:
    """Return the phrases that papers on `topic` use."""
    return _BY_KEY.get(topic.casefold(), (topic,))
