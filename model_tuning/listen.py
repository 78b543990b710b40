"""What a model hears in recordings. · 녹음을 들려주고 인식 결과 보기

    python model_tuning/listen.py --model wav2vec2_korean_v3 RECORDING [FOLDER …]
    python model_tuning/listen.py --model wav2vec2_korean_v3 RECORDING --sentence "읽은 문장"
    python model_tuning/listen.py --model wav2vec2_korean_v3 --page

It prints text, times and confidence; --output writes them as .csv, .jsonl, .srt or .txt. With
--sentence it tells, letter by letter, what was heard instead.
"""

import sys

from korean_asr.errors import exit_status, printable
from korean_asr.listening.command_line import listening_options, request_of
from korean_asr.listening.heard import listened, told_problem
from korean_asr.listening.outputs import write_output
from korean_asr.listening.report import comparison_lines, heard_lines


def main() -> None:
    # 1. The command line. What can be refused without a model is refused here.
    request = request_of(listening_options().parse_intermixed_args())

    # 2. The model. Torch is imported here, so that --help and wrong usage are answered at once.
    from korean_asr.ctc_models import load_any_ctc
    from korean_asr.hardware import device_here, refuse_unavailable, refuse_unusable_cards

    refuse_unusable_cards()
    refuse_unavailable(request.precision, device_here())
    recogniser = load_any_ctc(request.model, request.language)

    # 3. The page asks for recordings itself.
    if request.page:
        from korean_asr.listening.page import serve_page

        serve_page(recogniser, request.precision)
        return

    # 4. Decode, with the times of letters.
    recordings = listened(recogniser, request.recordings, request.sentence, request.precision)

    # 5. Write the file first: a reader such as `| head`, which closes the output, must not lose it.
    if request.output:
        write_output(request.output, recordings)

    # 6. Print; what could not be read is told among the others, on stderr.
    for heard in recordings:
        if heard.hypothesis.problem:
            print(told_problem(heard), file=sys.stderr)
            continue
        print(*heard_lines(heard), sep="\n")
        if heard.sentence is not None:
            outside = recogniser.outside([heard.sentence])
            print(*comparison_lines(heard, outside), sep="\n")
    if request.output:
        print(f"wrote {printable(str(request.output))}")


if __name__ == "__main__":
    sys.exit(exit_status(main))
