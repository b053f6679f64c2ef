"""Fine-tune a model with LoRA on a JSON list of {instruction, output, input?}.

python finetune_with_lora.py --data_path my.json --output_dir output
"""

from komt.commands._published import main

if __name__ == "__main__":
    raise SystemExit(main())
