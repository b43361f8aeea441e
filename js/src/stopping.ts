/** Decides, after each new token, whether it was the last one. */
export abstract class StoppingCriteria {
  /**
   * @param input_ids the prompt and all new ids, one row
   * @returns for each row, whether to stop; or one boolean for all
   */
  abstract _call(input_ids: number[][]): boolean | boolean[];
}

/** A stop button: {@link interrupt} ends generation after the current token, and `generate` resolves with what it has. */
export class InterruptableStoppingCriteria extends StoppingCriteria {
  interrupted = false;

  interrupt(): void {
    this.interrupted = true;
  }

  reset(): void {
    this.interrupted = false;
  }

  override _call(input_ids: number[][]): boolean[] {
    return input_ids.map(() => this.interrupted);
  }
}

/** Stops when any of its criteria does. */
export class StoppingCriteriaList extends StoppingCriteria implements Iterable<StoppingCriteria> {
  readonly criteria: StoppingCriteria[] = [];

  push(item: StoppingCriteria): void {
    this.criteria.push(item);
  }

  extend(items: Iterable<StoppingCriteria>): void {
    this.criteria.push(...items);
  }

  override _call(input_ids: number[][]): boolean[] {
    const answers = this.criteria.map((criterion) => criterion._call(input_ids));
    return input_ids.map((_, row) => answers.some((answer) => (Array.isArray(answer) ? answer[row] : answer) === true));
  }

  [Symbol.iterator](): IterableIterator<StoppingCriteria> {
    return this.criteria.values();
  }
}
