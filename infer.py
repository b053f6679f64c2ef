"""Ask a fine-tuned model: one streamed answer, then a prompt loop until Ctrl-D.

python infer.py --model_name_or_path output
"""

from komt.serve.first_talk import main

if __name__ == "__main__":
    raise SystemExit(main())
