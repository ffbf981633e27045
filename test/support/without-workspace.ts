import {
  BinaryOperationNode,
  ColumnNode,
  OperationNodeTransformer,
  OperatorNode,
  ReferenceNode,
  ValueNode,
  type KyselyPlugin,
} from 'kysely'

/** Takes `workspace_id = …` from every statement, as a service that has forgotten it. */
export const withoutWorkspace: KyselyPlugin = {
  transformQuery: ({ node, queryId }) => new Forgetful().transformNode(node, queryId),
  transformResult: async ({ result }) => result,
}

class Forgetful extends OperationNodeTransformer {
  protected override transformBinaryOperation(
    ...args: Parameters<OperationNodeTransformer['transformBinaryOperation']>
  ): BinaryOperationNode {
    const [{ leftOperand, operator }] = args
    const ofWorkspace =
      OperatorNode.is(operator) &&
      operator.operator === '=' &&
      ReferenceNode.is(leftOperand) &&
      ColumnNode.is(leftOperand.column) &&
      leftOperand.column.column.name === 'workspace_id'
    const one = ValueNode.createImmediate(1)
    return ofWorkspace ? BinaryOperationNode.create(one, operator, one) : super.transformBinaryOperation(...args)
  }
}
