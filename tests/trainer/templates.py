"""Chat templates in the styles of four model families: their turns and marks, in our own words, and nothing else.

Each style also says what a model of its family writes around an answer, which is what must carry loss. Not covered:
tools, dates and reasoning, which the families' own templates know besides.
"""

from typing import NamedTuple


class Style(NamedTuple):
    """One family's way of writing a conversation."""

    template: str
    opening: str
    """What the model itself writes between the prompt and its answer."""
    closing: str
    """What it writes after its answer, with the token that ends the turn."""
    end: str
    """That token."""
    special: tuple[str, ...]
    """Tokens of their own."""


SMOLLM2 = Style(
    template=(
        "{% set named = messages and messages[0]['role'] == 'system' %}"
        "{% if not named %}<|im_start|>system\nYou are small.<|im_end|>\n{% endif %}"
        "{% for turn in messages %}<|im_start|>{{ turn['role'] }}\n{{ turn['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    opening="",
    closing="<|im_end|>",
    end="<|im_end|>",
    special=("<|im_start|>", "<|im_end|>"),
)
"""A standing system turn where none is given, then every turn between a start and an end mark."""

QWEN = Style(
    template=(
        "{%- macro turn(role, content) %}{{- '<|im_start|>' ~ role ~ '\n' ~ content ~ '<|im_end|>\n' }}{% endmacro -%}"
        "{%- if messages[0].role == 'system' -%}{{- turn('system', messages[0].content) -}}"
        "{%- else -%}{{- turn('system', 'You write code.') -}}{%- endif -%}"
        "{%- for message in messages -%}"
        "{%- if message.role in ('user', 'assistant') -%}{{- turn(message.role, message.content) -}}{%- endif -%}"
        "{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
    ),
    opening="",
    closing="<|im_end|>",
    end="<|im_end|>",
    special=("<|im_start|>", "<|im_end|>"),
)
"""As SmolLM2's, with white space cut around every block and the system turn apart from the others."""

LLAMA3 = Style(
    template=(
        "<|begin_of_text|>"
        "{% for turn in messages %}<|start_header_id|>{{ turn['role'] }}<|end_header_id|>\n\n"
        "{{ turn['content'] | trim }}<|eot_id|>{% endfor %}"
        "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
    ),
    opening="",
    closing="<|eot_id|>",
    end="<|eot_id|>",
    special=("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
)
"""A mark that begins the text, roles between header marks, contents trimmed, no line between turns."""

DEEPSEEK_CODER = Style(
    template=(
        "<|begin|>{% if not messages or messages[0]['role'] != 'system' %}You help with programs.\n{% endif %}"
        "{% for turn in messages %}{% if turn['role'] == 'system' %}{{ turn['content'] }}"
        "{% elif turn['role'] == 'user' %}### Instruction:\n{{ turn['content'] }}\n"
        "{% else %}### Response:\n{{ turn['content'] }}\n<|EOT|>\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}### Response:{% endif %}"
    ),
    opening="\n",
    closing="\n<|EOT|>",
    end="<|EOT|>",
    special=("<|begin|>", "<|EOT|>"),
)
"""Headings in plain text; the prompt ends without a line break, so the model writes that itself, and another at the
end of its answer."""

STYLES = {"smollm2": SMOLLM2, "qwen": QWEN, "llama3": LLAMA3, "deepseek-coder": DEEPSEEK_CODER}

LAST_TURN_DIFFERS = SMOLLM2._replace(
    template=(
        "{% for turn in messages %}<|im_start|>{{ turn['role'] }}\n"
        "{% if not loop.last %}(earlier) {% endif %}{{ turn['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
)
"""Writes a turn otherwise once another follows, as templates do that drop earlier reasoning."""
