"""Use of a LoRA adapter on its 4-bit base: one streamed answer, then a prompt loop until Ctrl-D.

python usage_komt_with_lora.py --model_name_or_path output --prompt "고양이는 왜 물을 싫어하나요?"
"""

from komt.serve.first_talk import main

if __name__ == "__main__":
    raise SystemExit(main())
