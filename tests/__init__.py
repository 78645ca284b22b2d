"""The tests: of each file (unit), the diagram (flow), the RFCs (conformance), the house."""
